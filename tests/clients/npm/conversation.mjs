// How a script here talks with the test that started it: a line of JSON in, a line of JSON out.
//
//   in    {"walk": "authorization_code", ...}   what to do, with addresses, IDs and secrets
//   out   {"visit": "http://..."}               a person's browser is wanted at that address
//   in    {"came_back_to": "https://..."}       where the server sent the browser at the end
//   out   {"result": {...}}                     what the client got, or
//   out   {"refused": {...}}                    how it was refused, in the client's own words

import dns from 'node:dns'
import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'

// Node 18 has Web Crypto, but not under its global name.
globalThis.crypto ??= webcrypto
globalThis.CryptoKey ??= webcrypto.CryptoKey

// RFC 6761 section 6.3: names under localhost are this machine, which not every resolver knows.
const { lookup } = dns
dns.lookup = (host, ...rest) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, ...rest)

// Standard output is for the test; some libraries talk there.
console.log = console.error

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const hear = async () => JSON.parse((await lines.next()).value)
const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n')

/** Send the person's browser to `address`; where it ended up. */
export async function visit(address) {
  tell({ visit: String(address) })
  return new URL((await hear()).came_back_to)
}

/** Do the walk that the test names, and tell how it went. */
export async function walk(walks) {
  const { walk, ...given } = await hear()
  try {
    tell({ result: (await walks[walk](given)) ?? {} })
  } catch (error) {
    const { name, message, code, error: oauthError, cause } = error
    const payload = error.data?.payload
    tell({ refused: { name, message, code, error: oauthError ?? payload?.error ?? cause?.error, stack: error.stack } })
  }
  process.exit()
}
