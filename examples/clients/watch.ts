// Sets the version of a service by GraphQL, and follows that deployment over a subscription: watch.ts STACK SERVICE=TAG
// SKEP_SERVER and SKEP_TOKEN say where and who. Node 22 runs it as it is: node --experimental-strip-types watch.ts …
// It speaks graphql-transport-ws by hand; a library such as graphql-ws does the same.

// What it uses of Node.
declare const process: { env: Record<string, string | undefined>; argv: string[]; exit(code: number): never };

const server = process.env.SKEP_SERVER ?? 'http://127.0.0.1:7717';
const authorization = `Bearer ${process.env.SKEP_TOKEN ?? ''}`;
const [stack, image] = process.argv.slice(2);
const [service, version] = (image ?? '').split('=');

type Deployment = { id: string; phase: string; message: string | null; finishedAt: string | null };
type UserError = { message: string; hint: string | null };
type Deployed = { deployStack: { deployment: Deployment | null; userErrors: UserError[] } };

const answer = await fetch(`${server}/graphql`, {
  method: 'POST',
  headers: { authorization, 'content-type': 'application/json' },
  body: JSON.stringify({
    query: `mutation($input: DeployStackInput!) {
      deployStack(input: $input) { deployment { id phase message finishedAt } userErrors { message hint } }
    }`,
    variables: { input: { stack: { name: stack }, images: [{ service, version }], reason: 'watch.ts' } },
  }),
});
const { data, errors } = (await answer.json()) as { data?: Deployed; errors?: UserError[] };
const refused = errors ?? data?.deployStack.userErrors ?? [];
const deployment = data?.deployStack.deployment;
if (refused.length > 0 || !deployment) {
  console.error(refused.map((it) => `error: ${it.message}`).join('\n'));
  process.exit(1);
}

const socket = new WebSocket(`${server.replace(/^http/, 'ws')}/graphql`, 'graphql-transport-ws');
const send = (message: object) => socket.send(JSON.stringify(message));
socket.onopen = () => send({ type: 'connection_init', payload: { Authorization: authorization } });
socket.onerror = () => {
  console.error('the connection broke; the deployment goes on');
  process.exit(1);
};
socket.onmessage = ({ data }) => {
  const message = JSON.parse(String(data));
  switch (message.type) {
    case 'ping':
      return send({ type: 'pong' });
    case 'connection_ack':
      return send({
        type: 'subscribe',
        id: 'one',
        payload: {
          query: 'subscription($id: ID!) { deploymentChanged(id: $id) { deployment { id phase message finishedAt } } }',
          variables: { id: deployment.id },
        },
      });
    case 'next': {
      const found: Deployment | undefined = message.payload.data?.deploymentChanged.deployment;
      if (!found) break;
      console.log(found.phase, found.message ?? '');
      if (found.finishedAt) process.exit(found.phase === 'Converged' ? 0 : 1);
      break;
    }
    case 'error':
    case 'complete':
      console.error(JSON.stringify(message.payload ?? 'the subscription ended'));
      process.exit(1);
  }
};
