// Another product's authorization server, for what an API does with its tokens: `node oidc-provider.mjs PORT`.
// Says "ready" once it answers. GET /asked tells how many introspection requests it got.
import Provider from 'oidc-provider'

const port = Number(process.argv[2])
const issuer = `http://127.0.0.1:${port}`
const api = 'https://api.acme.example'

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'caller', client_secret: 'a-secret-of-the-caller', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [], scope: 'reports:read reports:write' },
    { client_id: 'api', client_secret: 'a-secret-of-the-api', grant_types: [], redirect_uris: [], response_types: [] },
  ],
  scopes: ['reports:read', 'reports:write'],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'reports:read reports:write',
        audience: resource,
        accessTokenFormat: 'opaque',
        accessTokenTTL: 600,
      }),
    },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
})

let asked = 0
provider.use(async (context, next) => {
  if (context.path === '/asked') {
    context.body = { asked }
    return
  }
  if (context.path === '/token/introspection') asked += 1
  await next()
})

provider.listen(port, '127.0.0.1', () => console.log('ready'))
