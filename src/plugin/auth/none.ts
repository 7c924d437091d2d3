import { isIP } from 'node:net'
import { BrokerError } from '../../base/errors.ts'
import type { AuthPlugin, AuthRequest, AuthResult, Permissions } from '../contract.ts'
import { type CertificateMapping, NO_CERTIFICATE_MAPPING, readClaim } from './identity.ts'

/** Everything, without a check. */
export const ALL_PERMISSIONS: Permissions = {
  all: true,
  publish: () => true,
  subscribe: () => true,
  receive: () => true,
}

const NO_ATTRIBUTES: Readonly<Record<string, string>> = Object.freeze({})

/**
 * `auth: none`, for development: anybody is let in and may do everything in the tenant that the user name names
 * (`acme/alice`, else `default`). Passwords are not looked at.
 */
export class NoAuth implements AuthPlugin {
  readonly name = 'none'
  readonly generation = 0
  readonly #certificates: (listener: string) => CertificateMapping

  constructor(certificates: (listener: string) => CertificateMapping = () => NO_CERTIFICATE_MAPPING) {
    this.#certificates = certificates
  }

  authenticate(request: AuthRequest): AuthResult {
    const claim = readClaim(request, this.#certificates(request.listener))
    if (!claim.ok) return { result: 'refused', reasonCode: 0x86, reason: claim.reason }
    const { tenant, user } = claim
    return {
      result: 'accepted',
      identity: { tenant, user: user ?? '', attributes: NO_ATTRIBUTES, permissions: ALL_PERMISSIONS },
    }
  }
}

export interface ListenerAddress {
  name: string
  type: string
  host: string
}

/**
 * Refuses a broker that would let anybody in from other machines, unless it was told to. The composition root calls
 * it before a listener opens.
 */
export function checkAnonymousBeyondLoopback(listeners: readonly ListenerAddress[], allowed: boolean): void {
  if (allowed) return
  const open = listeners.filter((listener) => listener.type !== 'unix' && !isLoopback(listener.host))
  if (open.length === 0) return
  const names = open.map(({ name, host }) => `"${name}" on ${host}`).join(', ')
  throw new BrokerError(
    'CONFIG_INVALID',
    `Cannot open listener ${names} with auth "none": anybody could do everything. ` +
      'Use auth "file", listen on 127.0.0.1, or set plugins.authNone.beyondLoopback: true',
  )
}

/** True for an address that only this machine reaches: 127.0.0.0/8 (RFC 1122), ::1 (RFC 4291), localhost. */
export function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (address === 'localhost') return true
  if (isIP(address) === 4) return address.startsWith('127.')
  if (isIP(address) !== 6) return false
  const mapped = /^::ffff:(127\.\d+\.\d+\.\d+)$/.exec(address)
  return mapped !== null || new URL(`http://[${address}]`).hostname === '[::1]'
}
