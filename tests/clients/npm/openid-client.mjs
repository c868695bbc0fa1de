// openid-client: the high-level client, which reads what it needs from the metadata.

import * as openid from 'openid-client'
import { visit, walk } from './conversation.mjs'

async function authentication({ method, client_secret, key }) {
  if (method === 'basic') return openid.ClientSecretBasic(client_secret)
  if (method === 'post') return openid.ClientSecretPost(client_secret)
  if (method === 'none') return openid.None()
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const signer = await crypto.subtle.importKey('jwk', key, algorithm, false, ['sign'])
  return openid.PrivateKeyJwt({ key: signer, kid: key.kid })
}

async function configure(given) {
  // allowInsecureRequests is the library's own switch for http.
  const options = { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] }
  return openid.discovery(new URL(given.issuer), given.client_id, undefined, await authentication(given), options)
}

async function verify(config, token) {
  const address = new URL(`${config.serverMetadata().issuer}/oauth2/verify`)
  return (await openid.fetchProtectedResource(config, token.access_token, address, 'GET')).json()
}

/** Walk the authorization code flow; `build` makes the address that the browser is sent to. */
async function authorized(given, build) {
  const config = await configure(given)
  const verifier = openid.randomPKCECodeVerifier()
  const state = openid.randomState()
  const address = await build(config, {
    redirect_uri: given.redirect_uri,
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...given.parameters,
  })
  // What is checked against it comes from its query: state, and iss as the metadata promise it.
  const cameBackTo = await visit(address)
  const checks = { pkceCodeVerifier: verifier, expectedState: state }
  return { config, token: await openid.authorizationCodeGrant(config, cameBackTo, checks) }
}

await walk({
  async discover(given) {
    return (await configure(given)).serverMetadata()
  },

  async client_credentials(given) {
    const config = await configure(given)
    const token = await openid.clientCredentialsGrant(config, given.parameters)
    return { token, verified: await verify(config, token) }
  },

  async authorization_code(given) {
    const { config, token } = await authorized(given, openid.buildAuthorizationUrl)
    return { token, verified: await verify(config, token) }
  },

  async pushed_authorization_request(given) {
    const { config, token } = await authorized(given, openid.buildAuthorizationUrlWithPAR)
    return { token, verified: await verify(config, token) }
  },

  async refresh_token(given) {
    const { config, token: before } = await authorized(given, openid.buildAuthorizationUrl)
    const token = await openid.refreshTokenGrant(config, before.refresh_token)
    return { before, token, verified: await verify(config, token) }
  },

  async replayed_refresh_token(given) {
    const { config, token } = await authorized(given, openid.buildAuthorizationUrl)
    await openid.refreshTokenGrant(config, token.refresh_token)
    await openid.refreshTokenGrant(config, token.refresh_token)
  },

  async revocation(given) {
    const { config, token } = await authorized(given, openid.buildAuthorizationUrl)
    await openid.tokenRevocation(config, token.refresh_token)
    return { token }
  },

  async introspection(given) {
    return openid.tokenIntrospection(await configure(given), given.token)
  },

  async device_code(given) {
    const config = await configure(given)
    const device = await openid.initiateDeviceAuthorization(config, given.parameters ?? {})
    await visit(device.verification_uri_complete)
    const token = await openid.pollDeviceAuthorizationGrant(config, device)
    return { device, token, verified: await verify(config, token) }
  },
})
