// Greets whoever calls, over HTTP (`GET /hello-node?name=Ada`) or by a plain event (`{"name": "Ada"}`).
export const handler = async (event, context) => {
  const name = event.name ?? event.queryStringParameters?.name ?? "world";
  console.log(`greeting ${name}`);
  return {
    message: `Hello, ${name}!`,
    from: `Node.js ${process.versions.node}`,
    function: context.functionName,
  };
};
