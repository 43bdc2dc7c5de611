'use strict';

// The global `awslambda`, with which a function says that it streams its answer.

const errors = require('./errors.cjs');

const HANDLER_STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const STREAM_RESPONSE = 'response';
const PRELUDE_CONTENT_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = new Uint8Array(8);

class HttpResponseStream {
  /** Puts status and headers, as JSON and eight zero bytes, before the first bytes of the body. */
  static from(stream, prelude) {
    stream.setContentType(PRELUDE_CONTENT_TYPE);
    const text = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(PRELUDE_END);
    };
    return stream;
  }
}

function streamifyResponse(handler, options) {
  handler[HANDLER_STREAMING] = STREAM_RESPONSE;
  if (typeof options?.highWaterMark === 'number') {
    handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  }
  return handler;
}

function installGlobal() {
  if (!['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) {
    globalThis.awslambda = { ...globalThis.awslambda, streamifyResponse, HttpResponseStream };
  }
}

function isStreaming(handler) {
  const mode = handler[HANDLER_STREAMING];
  if (mode && mode !== STREAM_RESPONSE) {
    throw new errors.MalformedStreamingHandler('Only response streaming is supported.');
  }
  return Boolean(mode);
}

function highWaterMark(handler) {
  return handler[HIGH_WATER_MARK];
}

module.exports = { highWaterMark, installGlobal, isStreaming };
