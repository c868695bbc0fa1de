// simple-oauth2: knows no discovery and no PKCE of its own; every address is configuration.

import { AuthorizationCode, ClientCredentials } from 'simple-oauth2'
import { visit, walk } from './conversation.mjs'

const configuration = ({ issuer, client_id, client_secret, method }) => ({
  client: { id: client_id, secret: client_secret },
  auth: {
    tokenHost: issuer,
    tokenPath: '/oauth2/token',
    revokePath: '/oauth2/revoke',
  },
  options: { authorizationMethod: method === 'basic' ? 'header' : 'body' },
})

async function authorized(given) {
  const { auth, ...rest } = configuration(given)
  const client = new AuthorizationCode({ auth: { ...auth, authorizePath: '/oauth2/authorize' }, ...rest })
  const cameBackTo = await visit(client.authorizeURL({ redirect_uri: given.redirect_uri, ...given.parameters }))
  const code = cameBackTo.searchParams.get('code')
  return client.getToken({ code, redirect_uri: given.redirect_uri })
}

await walk({
  async client_credentials(given) {
    return { token: await new ClientCredentials(configuration(given)).getToken(given.parameters ?? {}) }
  },

  async authorization_code(given) {
    return { token: await authorized(given) }
  },

  async refresh_token(given) {
    const before = await authorized(given)
    return { before, token: await before.refresh() }
  },

  async replayed_refresh_token(given) {
    const before = await authorized(given)
    await before.refresh()
    await before.refresh()
  },

  async revocation(given) {
    const token = await authorized(given)
    await token.revokeAll()
    return { token }
  },
})
