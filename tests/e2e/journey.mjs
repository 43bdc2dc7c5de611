// The way of every user with AWS's SDK for JavaScript. Endpoint, region and keys are in the environment;
// arguments: the name of the function, and a file with what it is made of. Prints what came of each step, as JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// An ES module's imports know no search path for packages.
const require = createRequire(path.join(process.env.WARREN_TEST_NODE_MODULES, "x.js"));
const sdk = require("@aws-sdk/client-lambda");

const [name, file] = process.argv.slice(2);
const { request, zips, others } = JSON.parse(readFileSync(file, "utf8"));
const client = new sdk.LambdaClient({ maxAttempts: 1 });
const FunctionName = name;

const send = (command, input) => client.send(new sdk[`${command}Command`](input));
const zip = (which) => Buffer.from(zips[which], "base64");

const patience = { client, maxWaitTime: 600, minDelay: 1, maxDelay: 2 };
const wait = async (waiter, input = { FunctionName }) => (await sdk[waiter](patience, input)).state;

async function invoke(event, more = {}) {
  const answer = await send("Invoke", { FunctionName, Payload: JSON.stringify(event), ...more });
  return {
    status: answer.StatusCode,
    error: answer.FunctionError,
    version: answer.ExecutedVersion,
    log: answer.LogResult && Buffer.from(answer.LogResult, "base64").toString(),
    requestId: answer.$metadata.requestId,
    // A dry run has none.
    body: answer.Payload ? JSON.parse(answer.Payload.transformToString()) : null,
  };
}

// What a refusal is to somebody who catches it.
async function refusal(command, input) {
  try {
    await send(command, input);
    return null;
  } catch (error) {
    return {
      name: error.name,
      ofItsClass: error instanceof (sdk[error.name] ?? Array),
      message: error.message,
      status: error.$metadata?.httpStatusCode,
      requestId: error.$metadata?.requestId,
    };
  }
}

const done = {};
done.create = await send("CreateFunction", { ...request, FunctionName, Code: { ZipFile: zip("actor") } });
done.active = await wait("waitUntilFunctionActiveV2");
done.exists = await wait("waitUntilFunctionExists");
done.red = await invoke({ print: "from JavaScript" }, { LogType: "Tail" });
done.raised = await invoke({ raise: "no" });
done.dryRun = await invoke({}, { InvocationType: "DryRun" });

const Environment = { Variables: { COLOUR: "green" } };
done.configuration = await send("UpdateFunctionConfiguration", { FunctionName, Environment, Timeout: 9 });
done.configured = await wait("waitUntilFunctionUpdatedV2");
done.green = await invoke({});

done.code = await send("UpdateFunctionCode", { FunctionName, ZipFile: zip("echo") });
done.coded = await wait("waitUntilFunctionUpdatedV2");
done.echo = await invoke({ text: "ä €" });

const Resource = done.create.FunctionArn;
await send("TagResource", { Resource, Tags: { stage: "test", team: "red" } });
await send("UntagResource", { Resource, TagKeys: ["stage", "absent"] });
done.tags = (await send("ListTags", { Resource })).Tags;
done.reserved = await send("PutFunctionConcurrency", { FunctionName, ReservedConcurrentExecutions: 3 });
done.found = await send("GetFunction", { FunctionName });

done.published = await send("PublishVersion", { FunctionName, Description: "first" });
done.publishedActive = await wait("waitUntilPublishedVersionActive", { FunctionName, Qualifier: "1" });
done.versionOne = await invoke({}, { Qualifier: "1" });
done.byArn = await invoke({}, { FunctionName: `${Resource}:1` });

for (const other of others) {
  await send("CreateFunction", { ...request, FunctionName: other, Code: { ZipFile: zip("echo") } });
}
done.pages = [];
for await (const page of sdk.paginateListFunctions({ client, pageSize: 2 }, {})) {
  done.pages.push({ names: page.Functions.map((found) => found.FunctionName), marker: typeof page.NextMarker });
}
for (const other of [...others, name]) {
  await send("DeleteFunction", { FunctionName: other });
}
done.missing = await refusal("GetFunction", { FunctionName });
done.missingInvoke = await refusal("Invoke", { FunctionName });
done.invalid = await refusal("CreateFunction", { ...request, FunctionName, Runtime: "cobol85", Code: { ZipFile: zip("echo") } });

process.stdout.write(JSON.stringify(done));
