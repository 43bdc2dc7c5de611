'use strict';

// Error objects, as callers of a function see them, and the errors that the runtime itself raises.

const util = require('node:util');

const { MAX_PAYLOAD } = require('./stream.cjs');

class RuntimeError extends Error {
  get name() {
    return `Runtime.${this.constructor.name}`;
  }
}

class ImportModuleError extends RuntimeError {}
class HandlerNotFound extends RuntimeError {}
class MalformedHandlerName extends RuntimeError {}
class MalformedStreamingHandler extends RuntimeError {}
class InvalidStreamingOperation extends RuntimeError {}
class CallbackHandlerDeprecated extends RuntimeError {}
class JSONStringifyError extends RuntimeError {}

class UserCodeSyntaxError extends RuntimeError {
  constructor(cause) {
    super(String(cause));
    // The cause's own stack begins with the file, the line and the code.
    this.stack = cause.stack;
  }
}

class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super(String(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

/** The JSON object for whatever was thrown. */
function describe(error) {
  try {
    if (util.types.isNativeError(error) || isErrorLike(error)) {
      return { errorType: error.name, errorMessage: error.message, trace: error.stack.split('\n') };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

/** Errors of another realm (`node:vm`) and of libraries that do not extend Error. */
function isErrorLike(value) {
  return ['name', 'message', 'stack'].every((key) => typeof value?.[key] === 'string' && value[key] !== '');
}

/** The same as the bytes of one frame. */
function payload(error) {
  const object = describe(error);
  const bytes = Buffer.from(JSON.stringify(object), 'utf8');
  if (bytes.length <= MAX_PAYLOAD) {
    return bytes;
  }
  // The longest JSON form of a UTF-16 unit is six bytes.
  const cut = { ...object, errorMessage: String(object.errorMessage).slice(0, MAX_PAYLOAD / 8), trace: [] };
  return Buffer.from(JSON.stringify(cut), 'utf8');
}

/** The form that goes into the text log: all that the error carries. */
function logText(error) {
  try {
    return `\t${JSON.stringify(error, (_key, value) => withOwnFields(value))}`;
  } catch {
    return `\t${JSON.stringify(describe(error))}`;
  }
}

function withOwnFields(value) {
  if (!(value instanceof Error)) {
    return value;
  }
  const fields = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
  if (typeof value.stack === 'string') {
    fields.stack = value.stack.split('\n');
  }
  return fields;
}

module.exports = {
  CallbackHandlerDeprecated,
  HandlerNotFound,
  ImportModuleError,
  InvalidStreamingOperation,
  JSONStringifyError,
  MalformedHandlerName,
  MalformedStreamingHandler,
  UnhandledPromiseRejection,
  UserCodeSyntaxError,
  describe,
  logText,
  payload,
};
