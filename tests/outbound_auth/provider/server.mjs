// The authorization server `oidc-provider` as its documentation sets it up: one client, consent
// granted to every user, refresh tokens rotated, PKCE required. It also serves a resource that requires
// its tokens. Prints its address; exits when its standard input closes.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [redirectUri, accessTokenSeconds] = process.argv.slice(2);

const server = createServer((request, response) => handle(request, response));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "postrider",
      client_secret: "s3cret-of-the-provider",
      redirect_uris: [redirectUri],
      response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
      scope: "openid offline_access events",
    },
  ],
  scopes: ["openid", "offline_access", "events"],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  pkce: { required: () => true, methods: ["S256"] },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ttl: {
    AccessToken: Number(accessTokenSeconds),
    ClientCredentials: Number(accessTokenSeconds),
    AuthorizationCode: 60,
    Grant: 3600,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 600,
  },
  cookies: { keys: ["a key of these tests"] },
});

// Logs every user in and grants the requested scopes.
async function consent(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: "somebody", clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const result = { login: { accountId: "somebody" }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

async function resource(request, response) {
  const [, value] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
  const token = value && ((await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value)));
  const scopes = token?.scope?.split(" ") ?? [];
  response.writeHead(scopes.includes("events") ? 200 : 401).end();
  console.log(JSON.stringify({ resource: scopes.includes("events"), value }));
}

// Revokes an access token before it expires.
async function revoke(request, response) {
  const value = new URL(request.url, issuer).searchParams.get("token");
  const token = (await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value));
  await token.destroy();
  response.writeHead(204).end();
}

const callback = provider.callback();
async function handle(request, response) {
  try {
    if (request.url.startsWith("/interaction/")) await consent(request, response);
    else if (request.url === "/hook") await resource(request, response);
    else if (request.url.startsWith("/revoke-now")) await revoke(request, response);
    else callback(request, response);
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}

provider.on("grant.success", (context) => {
  console.log(JSON.stringify({ grant: context.oidc.params.grant_type }));
});
provider.on("grant.error", (context, error) => {
  console.log(JSON.stringify({ refused: error.error, why: error.error_detail ?? error.error_description }));
});
console.log(JSON.stringify({ issuer }));
process.stdin.on("end", () => process.exit(0)).resume();
