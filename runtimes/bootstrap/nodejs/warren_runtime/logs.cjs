'use strict';

// The console, patched to Lambda's log formats.

const util = require('node:util');

const errors = require('./errors.cjs');
const output = require('./output.cjs');
const { runtimeMajor } = require('./version.cjs');

const STDOUT = 1;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
// Whether entries are JSON; known to `patchConsole`.
let jsonFormat = false;

// Libraries for tracing and logging read the id of the current call from here.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const BEFORE_FIRST_CALL = runtimeMajor >= 24 ? '-' : undefined;
globalThis[REQUEST_ID] = BEFORE_FIRST_CALL;

function setRequestId(id) {
  globalThis[REQUEST_ID] = id;
}

function patchConsole() {
  const lowest = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  jsonFormat = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const print = jsonFormat ? printJson : printText;
  const methods = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
  methods.forEach((method, priority) => {
    const level = LEVELS[priority];
    console[method] = priority >= lowest ? (...values) => print(level, values) : () => {};
  });
  console.log = console.info;
}

function printText(level, values) {
  const time = new Date().toISOString();
  output.write(STDOUT, `${time}\t${globalThis[REQUEST_ID]}\t${level}\t${util.format(...values)}\n`);
}

function printJson(level, values) {
  const entry = { timestamp: new Date().toISOString(), level, requestId: globalThis[REQUEST_ID] };
  output.write(STDOUT, `${jsonEntry(entry, values)}\n`);
}

function jsonEntry(entry, values) {
  if (values.length === 1) {
    try {
      return JSON.stringify({ ...entry, message: values[0] }, replaceError);
    } catch {
      return JSON.stringify({ ...entry, message: util.format(values[0]) });
    }
  }
  const error = values.find((value) => value instanceof Error);
  return JSON.stringify({ ...entry, message: util.format(...values), ...(error && errorFields(error)) });
}

function replaceError(_key, value) {
  return value instanceof Error ? { ...errorFields(value), ...value } : value;
}

function errorFields(error) {
  return {
    errorType: error.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : [],
  };
}

/** The entry for a failed call or Init. */
function error(title, thrown) {
  const asError = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (jsonFormat) {
    console.error(asError);
  } else {
    console.error(title, errors.logText(asError));
  }
}

module.exports = { error, patchConsole, setRequestId };
