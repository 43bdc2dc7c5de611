const functions = require('@google-cloud/functions-framework');

const noop = require('./noop.js');

functions.http('noop', (_request, response) => response.json(noop()));
