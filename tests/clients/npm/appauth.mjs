// AppAuth-JS, with its support for Node: opens the desktop's browser and listens on loopback for the answer (RFC 8252).

import { register } from 'node:module'
import { walk } from './conversation.mjs'

// Its files name each other without a suffix, as bundlers like it.
register('./suffixes.mjs', import.meta.url)
const appauth = await import('@openid/appauth')
const { NodeBasedHandler, NodeCrypto, NodeRequestor } = await import('@openid/appauth/built/src/node_support/index.js')

const tokens = new appauth.BaseTokenRequestHandler(new NodeRequestor())

/** It looks for OpenID Connect's document only, so it is given what it would have found there. */
async function configure({ issuer }) {
  const response = await fetch(`${issuer}/.well-known/oauth-authorization-server`)
  return new appauth.AuthorizationServiceConfiguration(await response.json())
}

/** Have the browser opened (the desktop's xdg-open, from PATH), and wait for its request on loopback. */
async function authorized(given) {
  const configuration = await configure(given)
  const handler = new NodeBasedHandler(given.port)
  const notifier = new appauth.AuthorizationNotifier()
  const answered = new Promise((resolve, reject) => {
    notifier.setAuthorizationListener((request, response, error) => (error ? reject(error) : resolve({ request, response })))
  })
  handler.setAuthorizationNotifier(notifier)
  const { client_id, redirect_uri } = given
  const asked = new appauth.AuthorizationRequest({ client_id, redirect_uri, scope: '' }, new NodeCrypto())
  handler.performAuthorizationRequest(configuration, asked)
  const { request, response } = await answered
  if (response.state !== request.state) throw new Error('another state came back')
  const token = await tokens.performTokenRequest(configuration, new appauth.TokenRequest({
    client_id,
    redirect_uri,
    grant_type: appauth.GRANT_TYPE_AUTHORIZATION_CODE,
    code: response.code,
    extras: { code_verifier: request.internal.code_verifier },
  }))
  return { configuration, token }
}

async function refresh({ client_id, redirect_uri }, configuration, refresh_token) {
  const grant_type = appauth.GRANT_TYPE_REFRESH_TOKEN
  const request = new appauth.TokenRequest({ client_id, redirect_uri, grant_type, refresh_token })
  return (await tokens.performTokenRequest(configuration, request)).toJson()
}

await walk({
  async authorization_code(given) {
    return { token: (await authorized(given)).token.toJson() }
  },

  async refresh_token(given) {
    const { configuration, token: before } = await authorized(given)
    return { before: before.toJson(), token: await refresh(given, configuration, before.refreshToken) }
  },

  async replayed_refresh_token(given) {
    const { configuration, token } = await authorized(given)
    await refresh(given, configuration, token.refreshToken)
    await refresh(given, configuration, token.refreshToken)
  },

  async revocation(given) {
    const { configuration, token } = await authorized(given)
    const { client_id } = given
    await tokens.performRevokeTokenRequest(configuration, new appauth.RevokeTokenRequest({
      token: token.refreshToken, token_type_hint: 'refresh_token', client_id,
    }))
    return { token: token.toJson() }
  },
})
