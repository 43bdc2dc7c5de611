'use strict';

// The parts of a handler's context that do not depend on how it is called.

// A process serves one function, so these are read once, by `setUp`.
let functionFields;

function setUp() {
  functionFields = {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

/** Adds what the meta of the INVOKE frame says to `context`. */
function fill(context, meta) {
  const { deadline } = meta;
  context.functionVersion = functionFields.functionVersion;
  context.functionName = functionFields.functionName;
  context.memoryLimitInMB = functionFields.memoryLimitInMB;
  context.logGroupName = functionFields.logGroupName;
  context.logStreamName = functionFields.logStreamName;
  context.clientContext = parse(meta.client, 'ClientContext');
  context.identity = parse(meta.identity, 'CognitoIdentity');
  context.invokedFunctionArn = meta.arn;
  context.awsRequestId = meta.id;
  context.tenantId = meta.tenant;
  context.getRemainingTimeInMillis = () => deadline - Date.now();
  return context;
}

function parse(text, name) {
  if (text === undefined) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

module.exports = { fill, setUp };
