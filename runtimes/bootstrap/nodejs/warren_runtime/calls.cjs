'use strict';

// What all kinds of handlers have in common: one call at a time, and how it ends.

const context = require('./context.cjs');
const { setTrace } = require('./trace.cjs');
const errors = require('./errors.cjs');
const logs = require('./logs.cjs');
const output = require('./output.cjs');
const { runtimeMajor } = require('./version.cjs');

// Lambda's limit for the answer of a synchronous call: 6 MiB and a little for its envelope.
const MAX_ANSWER = 6_291_556;
const NO_CALL = 0;

class Calls {
  constructor(handler, stream) {
    this.handler = handler;
    this.stream = stream;
    this.number = NO_CALL;
  }

  /** Called with each call that comes; `run(event, meta)` is the subclass's. */
  begin(number, metaText, body) {
    const meta = JSON.parse(metaText);
    this.number = number;
    this.stream.release();
    logs.setRequestId(meta.id);
    setTrace(meta.trace);
    this.run(number, meta, body);
  }

  succeed(number, result) {
    let text;
    try {
      // A function as the result has no JSON form at all.
      text = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch {
      this.fail(number, unwritable());
      return;
    }
    if (text.length * 3 > MAX_ANSWER && Buffer.byteLength(text) > MAX_ANSWER) {
      const message = `Response payload size exceeded maximum allowed payload size (${MAX_ANSWER} bytes).`;
      const error = { errorType: 'Function.ResponseSizeTooLarge', errorMessage: message };
      this.end();
      this.stream.fail(number, Buffer.from(JSON.stringify(error)), output.mark());
      return;
    }
    this.end();
    this.stream.respond(number, text, output.mark());
  }

  fail(number, error) {
    logs.error('Invoke Error', error);
    this.end();
    this.stream.fail(number, errors.payload(error), output.mark());
  }

  /** The process can't be trusted any more; the current call, if there is one, gets the error. */
  failAndExit(error, code) {
    if (this.number === NO_CALL) {
      process.exit(code);
    }
    this.stream.failAndExit(this.number, errors.payload(error), output.mark(), code);
  }

  end() {
    this.number = NO_CALL;
    this.stream.hold();
  }
}

function unwritable() {
  const message = 'Unable to stringify response body';
  return runtimeMajor >= 24 ? new errors.JSONStringifyError(message) : new Error(message);
}

/** An empty payload is an empty event. */
function parseEvent(body) {
  return body === '' ? {} : JSON.parse(body);
}

function isThenable(value) {
  return value !== null && typeof value === 'object' && typeof value.then === 'function';
}

module.exports = { Calls, isThenable, parseEvent };
