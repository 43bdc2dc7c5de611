// Everything that goes through Lambda's API with real signatures. Prints JSON.
// usage: node client.mjs deploy|cold|load URL FUNCTION ...   (credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)
//   deploy URL FUNCTION ZIP RUNTIME HANDLER PATH   makes the function with the route GET PATH and waits until it can be called
//   cold   URL FUNCTION ZIP...         publishes each archive and times the first Invoke
//   load   URL FUNCTION sdk|lean CONCURRENCY SECONDS
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';

const REGION = 'us-east-1';
const ANSWER = /^\{"boot":"([0-9a-f-]+)","n":(\d+)\}$/;

const [command, url, name, ...rest] = process.argv.slice(2);

async function sdk() {
  const lambda = await import('@aws-sdk/client-lambda');
  return { lambda, client: new lambda.LambdaClient({ endpoint: url, region: REGION, maxAttempts: 1 }) };
}

async function deploy(zip, runtime, handler, path) {
  const { lambda, client } = await sdk();
  await client.send(
    new lambda.CreateFunctionCommand({
      FunctionName: name,
      Runtime: runtime,
      Handler: handler,
      Role: 'arn:aws:iam::000000000000:role/bench',
      Code: { ZipFile: readFileSync(zip) },
      Tags: { 'warren:route': `GET ${path}` },
    }),
  );
  await lambda.waitUntilFunctionActiveV2({ client, maxWaitTime: 600, minDelay: 1, maxDelay: 1 }, { FunctionName: name });
  const answer = await client.send(new lambda.InvokeCommand({ FunctionName: name }));
  return answer.Payload.transformToString();
}

/** `Init Duration: 67.49 ms` of a REPORT line. */
function field(report, title) {
  const found = report.match(new RegExp(`\t${title}: ([0-9.]+) ms`));
  if (!found) throw new Error(`no ${title} in ${report}`);
  return Number(found[1]);
}

async function cold(zips) {
  const { lambda, client } = await sdk();
  const runs = [];
  const boots = new Set();
  for (const zip of zips) {
    const begun = performance.now();
    await client.send(new lambda.UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: readFileSync(zip) }));
    await lambda.waitUntilFunctionUpdatedV2({ client, maxWaitTime: 600, minDelay: 1, maxDelay: 1 }, { FunctionName: name });
    const published = performance.now();
    const answer = await client.send(new lambda.InvokeCommand({ FunctionName: name, LogType: 'Tail' }));
    const total = performance.now() - published;
    const [, boot, count] = answer.Payload.transformToString().match(ANSWER) ?? [];
    if (!boot || count !== '1' || boots.has(boot)) {
      throw new Error(`not the first answer of a new process: ${answer.Payload.transformToString()}`);
    }
    boots.add(boot);
    const report = Buffer.from(answer.LogResult, 'base64').toString().split('\n').find((line) => line.startsWith('REPORT'));
    runs.push({
      publish_ms: published - begun,
      total_ms: total,
      init_ms: field(report, 'Init Duration'),
      duration_ms: field(report, 'Duration'),
    });
  }
  return runs;
}

/** One Invoke through AWS's SDK, as programs do it. */
async function sdkCaller() {
  const { lambda, client } = await sdk();
  return async () => {
    const answer = await client.send(new lambda.InvokeCommand({ FunctionName: name }));
    return { status: answer.FunctionError ? 500 : answer.StatusCode, body: answer.Payload.transformToString() };
  };
}

/** One Invoke with a signature of its own and as little else as Node.js allows. */
function leanCaller(concurrency) {
  const { hostname, port, host } = new URL(url);
  const agent = new http.Agent({ keepAlive: true, maxSockets: concurrency });
  const path = `/2015-03-31/functions/${name}/invocations`;
  const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  const bodyHash = sha256('');
  let day;
  let signingKey;
  const headers = () => {
    const date = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    if (day !== date.slice(0, 8)) {
      day = date.slice(0, 8);
      signingKey = [day, REGION, 'lambda', 'aws4_request'].reduce(hmac, `AWS4${process.env.AWS_SECRET_ACCESS_KEY}`);
    }
    const scope = `${day}/${REGION}/lambda/aws4_request`;
    const request = sha256(`POST\n${path}\n\nhost:${host}\nx-amz-date:${date}\n\nhost;x-amz-date\n${bodyHash}`);
    const signature = hmac(signingKey, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${request}`).toString('hex');
    const credential = `${process.env.AWS_ACCESS_KEY_ID}/${scope}`;
    return {
      host,
      'x-amz-date': date,
      'content-length': 0,
      authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host;x-amz-date, Signature=${signature}`,
    };
  };
  return () =>
    new Promise((resolve, reject) => {
      const request = http.request({ hostname, port, agent, path, method: 'POST', headers: headers() }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (piece) => (body += piece));
        response.on('end', () => resolve({ status: response.headers['x-amz-function-error'] ? 500 : response.statusCode, body }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end();
    });
}

async function load(kind, concurrency, seconds) {
  const call = kind === 'sdk' ? await sdkCaller() : leanCaller(concurrency);
  const latencies = [];
  const seen = new Map();
  let [wrong, repeats, first_wrong] = [0, 0, ''];
  const check = ({ status, body }) => {
    const [, boot, count] = body.match(ANSWER) ?? [];
    if (status !== 200 || !boot) {
      wrong += 1;
      first_wrong ||= `${status} ${body.slice(0, 200)}`;
      return;
    }
    const counts = seen.get(boot) ?? new Set();
    seen.set(boot, counts);
    if (counts.has(count)) repeats += 1;
    counts.add(count);
  };
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const worker = async () => {
    for (let now = performance.now(); now < end; ) {
      const answer = await call();
      const after = performance.now();
      latencies.push(after - now);
      now = after;
      check(answer);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const elapsed = (performance.now() - begun) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (percent) => Math.round(1000 * latencies[Math.min(latencies.length - 1, Math.floor((latencies.length * percent) / 100))]);
  const answers = Object.fromEntries([...seen].map(([boot, counts]) => [boot, counts.size]));
  return {
    seconds: elapsed,
    requests: latencies.length,
    checked: latencies.length - wrong,
    wrong,
    repeats,
    first_wrong,
    socket_errors: 0,
    answers,
    p50_us: at(50),
    p95_us: at(95),
    p99_us: at(99),
    max_us: at(100),
  };
}

const commands = {
  deploy: () => deploy(...rest),
  cold: () => cold(rest),
  load: () => load(rest[0], Number(rest[1]), Number(rest[2])),
};
console.log(JSON.stringify(await commands[command]()));
