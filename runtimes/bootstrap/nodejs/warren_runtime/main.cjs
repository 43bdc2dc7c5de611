'use strict';

// The life of the process: Init, then one call after another until the host goes.

const { CallStream } = require('./stream.cjs');
const { BufferedCalls } = require('./buffered.cjs');
const { ModernCalls } = require('./modern.cjs');
const { StreamedCalls } = require('./streamed.cjs');
const { load } = require('./load.cjs');
const { runtimeMajor } = require('./version.cjs');
const context = require('./context.cjs');
const errors = require('./errors.cjs');
const logs = require('./logs.cjs');
const output = require('./output.cjs');
const standby = require('./standby.cjs');

// Lambda's exit codes.
const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;

async function run() {
  const stream = new CallStream(3);
  await standby.wait(stream);
  const snapshot = snapshotPart();
  context.setUp();
  output.install();
  logs.patchConsole();
  // Replaced by the calls' own once Init is over.
  let fail = (error, code) => stream.initErrorAndExit(errors.payload(error), code);

  process.on('uncaughtException', (error) => {
    logs.error('Uncaught Exception', error);
    fail(error, EXIT_UNCAUGHT_EXCEPTION);
  });
  process.on('unhandledRejection', (reason, promise) => {
    const error = new errors.UnhandledPromiseRejection(reason, promise);
    logs.error('Unhandled Promise Rejection', error);
    fail(error, EXIT_UNHANDLED_REJECTION);
  });

  let calls;
  try {
    snapshot?.begin();
    calls = callsFor(await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER ?? ''), stream);
  } catch (error) {
    logs.error(runtimeMajor >= 24 ? 'Init Error' : 'Uncaught Exception', error);
    fail(error, EXIT_UNCAUGHT_EXCEPTION);
    return;
  }
  fail = (error, code) => calls.failAndExit(error, code);
  if (snapshot) {
    stream.ready();
    await snapshot.wait(stream);
    context.setUp();
  }
  stream.open((number, meta, body) => calls.begin(number, meta, body));
  stream.ready();
}

/** What only a process needs of which a checkpoint is taken. */
function snapshotPart() {
  return process.env.AWS_LAMBDA_INITIALIZATION_TYPE === 'snap-start' ? require('./snapshot.cjs') : undefined;
}

function callsFor({ handler, streaming }, stream) {
  if (streaming) {
    return new StreamedCalls(handler, stream);
  }
  return runtimeMajor >= 24 ? new ModernCalls(handler, stream) : new BufferedCalls(handler, stream);
}

module.exports = { run };
