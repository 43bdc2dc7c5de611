// The floor: Node.js's own HTTP server and nothing else. usage: node raw.js PORT
const http = require('node:http');

const noop = require('./noop.js');

const server = http.createServer((_request, response) => {
  const body = JSON.stringify(noop());
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
