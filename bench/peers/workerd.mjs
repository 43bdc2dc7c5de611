import noop from 'noop.js';

export default {
  fetch() {
    return Response.json(noop());
  },
};
