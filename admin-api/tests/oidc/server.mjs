// An OpenID provider for tests: npm's oidc-provider, where whoever was named last is logged in already.
// usage: node server.mjs DIRECTORY-WITH-node_modules REDIRECT_URI; prints its issuer.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [directory, redirectUri] = process.argv.slice(2);
const require = createRequire(`${directory}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

// {sub, email, email_verified}
let person = null;
const people = new Map();

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "chatbus", client_secret: "a secret: +/&=%", redirect_uris: [redirectUri] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    cookies: { keys: ["a key of a test"] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => people.get(sub) }),
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({
        clientId: context.oidc.client.clientId,
        accountId: context.oidc.session.accountId,
      });
      grant.addOIDCScope("openid email");
      await grant.save();
      return grant;
    },
  });
  const callback = provider.callback();
  server.on("request", async (request, response) => {
    if (request.method === "PUT") {
      let body = "";
      for await (const chunk of request) body += chunk;
      person = JSON.parse(body);
      people.set(person.sub, person);
      response.end();
    } else if (request.url.startsWith("/interaction/")) {
      await provider.interactionFinished(request, response, { login: { accountId: person.sub } });
    } else {
      callback(request, response);
    }
  });
  console.log(issuer);
});
