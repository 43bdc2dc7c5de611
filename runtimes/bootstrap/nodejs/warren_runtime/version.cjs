'use strict';

// Which Node.js the function was written for decides how its handler is called. A tree may stand in for another version, so
// what the function was created with goes before what it runs on.
const declared = /^AWS_Lambda_nodejs(\d+)\.x$/.exec(process.env.AWS_EXECUTION_ENV ?? '');

const runtimeMajor = Number(declared?.[1] ?? process.versions.node.split('.')[0]);

module.exports = { runtimeMajor };
