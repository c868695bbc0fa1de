// oauth4webapi: the low-level client; each request and each answer is a step of its own.

import * as oauth from 'oauth4webapi'
import { visit, walk } from './conversation.mjs'

// The library's own switch for http.
const http = { [oauth.allowInsecureRequests]: true }
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

async function discover({ issuer }) {
  const address = new URL(issuer)
  const response = await oauth.discoveryRequest(address, { ...http, algorithm: 'oauth2' })
  return oauth.processDiscoveryResponse(address, response)
}

async function authentication({ method, client_secret, key }) {
  if (method === 'basic') return oauth.ClientSecretBasic(client_secret)
  if (method === 'post') return oauth.ClientSecretPost(client_secret)
  if (method === 'none') return oauth.None()
  const usage = ['sign']
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const signer = await crypto.subtle.importKey('jwk', key, algorithm, false, usage)
  return oauth.PrivateKeyJwt({ key: signer, kid: key.kid })
}

/** Server, client and its authentication, as nearly every call of the library wants them. */
async function parties(given) {
  return [await discover(given), { client_id: given.client_id }, await authentication(given)]
}

async function verify(as, token) {
  const response = await oauth.protectedResourceRequest(
    token, 'GET', new URL(`${as.issuer}/oauth2/verify`), undefined, undefined, http,
  )
  return response.json()
}

/** Walk the authorization code flow; the browser is sent where `ask` says. */
async function authorized(given, ask) {
  const [as, client, auth] = await parties(given)
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const parameters = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: given.redirect_uri,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...given.parameters,
  })
  const cameBackTo = await visit(await ask(as, client, auth, parameters))
  // Checks state, and iss as the metadata promise it.
  const answer = oauth.validateAuthResponse(as, client, cameBackTo, state)
  const response = await oauth.authorizationCodeGrantRequest(
    as, client, auth, answer, given.redirect_uri, verifier, http,
  )
  return { as, client, auth, token: await oauth.processAuthorizationCodeResponse(as, client, response) }
}

const inTheAddress = (as, client, auth, parameters) => `${as.authorization_endpoint}?${parameters}`

async function pushed(as, client, auth, parameters) {
  const response = await oauth.pushedAuthorizationRequest(as, client, auth, parameters, http)
  const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, response)
  return `${as.authorization_endpoint}?${new URLSearchParams({ client_id: client.client_id, request_uri })}`
}

async function refresh({ as, client, auth }, refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(as, client, auth, refreshToken, http)
  return oauth.processRefreshTokenResponse(as, client, response)
}

async function introspect([as, client, auth], token) {
  const response = await oauth.introspectionRequest(as, client, auth, token, http)
  return oauth.processIntrospectionResponse(as, client, response)
}

async function revoke({ as, client, auth }, token) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, http))
}

await walk({
  discover,

  async client_credentials(given) {
    const [as, client, auth] = await parties(given)
    const response = await oauth.clientCredentialsGrantRequest(as, client, auth, given.parameters ?? {}, http)
    const token = await oauth.processClientCredentialsResponse(as, client, response)
    return { token, verified: await verify(as, token.access_token) }
  },

  async authorization_code(given) {
    const { as, token } = await authorized(given, inTheAddress)
    return { token, verified: await verify(as, token.access_token) }
  },

  async pushed_authorization_request(given) {
    const { as, token } = await authorized(given, pushed)
    return { token, verified: await verify(as, token.access_token) }
  },

  async refresh_token(given) {
    const session = await authorized(given, inTheAddress)
    const token = await refresh(session, session.token.refresh_token)
    return { before: session.token, token, verified: await verify(session.as, token.access_token) }
  },

  async replayed_refresh_token(given) {
    const session = await authorized(given, inTheAddress)
    await refresh(session, session.token.refresh_token)
    await refresh(session, session.token.refresh_token)
  },

  async revocation(given) {
    const session = await authorized(given, inTheAddress)
    await revoke(session, session.token.refresh_token)
    return { token: session.token }
  },

  async introspection(given) {
    return introspect(await parties(given), given.token)
  },

  async device_code(given) {
    const [as, client, auth] = await parties(given)
    const asked = await oauth.deviceAuthorizationRequest(as, client, auth, given.parameters ?? {}, http)
    const device = await oauth.processDeviceAuthorizationResponse(as, client, asked)
    await visit(device.verification_uri_complete)
    const response = await oauth.deviceCodeGrantRequest(as, client, auth, device.device_code, http)
    const token = await oauth.processDeviceCodeResponse(as, client, response)
    return { device, token, verified: await verify(as, token.access_token) }
  },

  async impatient_device(given) {
    const [as, client, auth] = await parties(given)
    const asked = await oauth.deviceAuthorizationRequest(as, client, auth, {}, http)
    const { device_code } = await oauth.processDeviceAuthorizationResponse(as, client, asked)
    const response = await oauth.genericTokenEndpointRequest(as, client, auth, DEVICE_GRANT, { device_code }, http)
    await oauth.processGenericTokenEndpointResponse(as, client, response)
  },
})
