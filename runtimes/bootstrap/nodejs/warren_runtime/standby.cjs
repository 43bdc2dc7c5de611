'use strict';

// A process that was started before its function was known: it waits for INIT and becomes that function's. What Node.js and the C library read at
// exec alone, the host does not leave to this: it starts a new process then.

// Set by the host for a process that is to wait.
const VARIABLE = 'WARREN_STANDBY';

/** Fulfilled once the environment and the folder are the function's; at once for a process that is not to wait. */
async function wait(stream) {
  if (process.env[VARIABLE] === undefined) {
    return;
  }
  const { environment, directory } = JSON.parse(await stream.standby());
  for (const name of Object.keys(process.env)) {
    if (!(name in environment)) {
      delete process.env[name];
    }
  }
  Object.assign(process.env, environment);
  // The folder of before lies under the one that holds the code now.
  process.chdir(directory);
}

module.exports = { wait };
