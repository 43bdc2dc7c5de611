'use strict';

// Handlers up to Node.js 22: `async (event, context)`, or `(event, context, callback)` whose answer is sent once the event loop is empty
// unless `context.callbackWaitsForEmptyEventLoop` is false. What a handler returns counts only if it is a promise.

const { Calls, isThenable, parseEvent } = require('./calls.cjs');
const context = require('./context.cjs');

class BufferedCalls extends Calls {
  /** What to do when the function has nothing left to do; null between calls. */
  onEmptyLoop = null;

  constructor(handler, stream) {
    super(handler, stream);
    process.on('beforeExit', () => {
      const action = this.onEmptyLoop;
      this.onEmptyLoop = null;
      action?.();
    });
  }

  run(number, meta, body) {
    let settled = false;
    let waits = true;

    // Only the first of all the ways to end a call counts.
    const settle = (error, result) => {
      if (!settled) {
        settled = true;
        this.#finish(number, error, result);
      }
    };
    const callback = (error, result) => {
      if (settled) {
        return;
      }
      settled = true;
      if (isPresent(error) || !waits) {
        this.#finish(number, error, result);
      } else {
        this.onEmptyLoop = () => this.#finish(number, error, result);
      }
    };
    const succeed = (result) => settle(null, result);
    const fail = (error) => settle(isPresent(error) ? error : 'handled');
    this.onEmptyLoop = () => settle(null, null);

    try {
      const callContext = {
        get callbackWaitsForEmptyEventLoop() {
          return waits;
        },
        set callbackWaitsForEmptyEventLoop(value) {
          waits = value;
        },
        succeed,
        fail,
        done: settle,
      };
      const result = this.handler(parseEvent(body), context.fill(callContext, meta), callback);
      if (isThenable(result)) {
        result.then(succeed, fail);
      }
    } catch (error) {
      callback(error ?? new Error(String(error)));
    }
  }

  #finish(number, error, result) {
    this.onEmptyLoop = null;
    if (isPresent(error)) {
      this.fail(number, error);
    } else {
      this.succeed(number, result);
    }
  }
}

function isPresent(error) {
  return error !== undefined && error !== null;
}

module.exports = { BufferedCalls };
