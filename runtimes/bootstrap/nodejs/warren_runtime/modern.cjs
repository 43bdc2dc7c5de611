'use strict';

// Handlers from Node.js 24 on: the answer is what the handler returns or resolves to; there are no callbacks.

const { Calls, isThenable, parseEvent } = require('./calls.cjs');
const context = require('./context.cjs');

class ModernCalls extends Calls {
  run(number, meta, body) {
    try {
      const callContext = context.fill({}, meta);
      callContext.xRayTraceId = meta.trace;
      const result = this.handler(parseEvent(body), callContext);
      if (isThenable(result)) {
        result.then(
          (value) => this.succeed(number, value),
          (error) => this.fail(number, error),
        );
      } else {
        this.succeed(number, result);
      }
    } catch (error) {
      this.fail(number, error);
    }
  }
}

module.exports = { ModernCalls };
