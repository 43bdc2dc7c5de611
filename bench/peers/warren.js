const noop = require('./noop.js');

exports.handler = async () => noop();
