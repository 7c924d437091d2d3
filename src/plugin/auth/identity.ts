import { DEFAULT_TENANT, type TenantId } from '../../base/ids.ts'
import type { AuthRequest } from '../contract.ts'

/** A field of a certificate's subject (X.509 attribute CN, O or OU). */
export type CertificateField = 'cn' | 'o' | 'ou' | 'none'

/** What a listener takes from a verified client certificate. */
export interface CertificateMapping {
  tenantFrom: CertificateField
  /** With a field, the certificate alone says who the client is: user name and password are not looked at. */
  userFrom: CertificateField
}

export const NO_CERTIFICATE_MAPPING: CertificateMapping = { tenantFrom: 'none', userFrom: 'none' }

/**
 * Who a client claims to be. `proven` is true where a certificate says so, false where a password must.
 * A null user is an anonymous client.
 */
export type Claim = { ok: true; tenant: TenantId; user: string | null; proven: boolean } | { ok: false; reason: string }

const TENANT = /^[\p{L}\p{N}_.:@-]{1,64}$/u

/** Letters, digits and `_ . : @ -`, at most 64: safe in keys, labels, paths and user names. */
export function isTenantName(name: string): boolean {
  return TENANT.test(name)
}

/** `acme/alice` is user `alice` of tenant `acme`; a name without `/` belongs to the default tenant. */
export function splitUserName(username: string): { tenant: string; user: string } {
  const slash = username.indexOf('/')
  if (slash < 0) return { tenant: DEFAULT_TENANT, user: username }
  return { tenant: username.slice(0, slash), user: username.slice(slash + 1) }
}

/**
 * The tenant never comes from two places: where a listener takes it from the certificate, a user name of another
 * tenant is refused; where the certificate gives only the user, the tenant is the default one, whatever the user
 * name says.
 */
export function readClaim(request: AuthRequest, mapping: CertificateMapping): Claim {
  const { certificate, username } = request
  const named = username === null ? null : splitUserName(username)
  if (certificate === null || (mapping.tenantFrom === 'none' && mapping.userFrom === 'none')) {
    return finish(named?.tenant ?? DEFAULT_TENANT, named?.user ?? null, false)
  }
  const tenant = mapping.tenantFrom === 'none' ? DEFAULT_TENANT : readField(certificate, mapping.tenantFrom)
  if (tenant === null) return { ok: false, reason: `the certificate has no field "${mapping.tenantFrom}"` }
  if (mapping.userFrom !== 'none') {
    const user = readField(certificate, mapping.userFrom)
    if (user === null) return { ok: false, reason: `the certificate has no field "${mapping.userFrom}"` }
    return finish(tenant, user, true)
  }
  if (named !== null && username!.includes('/') && named.tenant !== tenant) {
    return { ok: false, reason: 'the user name names another tenant than the certificate' }
  }
  return finish(tenant, named?.user ?? null, false)
}

function finish(tenant: string, user: string | null, proven: boolean): Claim {
  if (!isTenantName(tenant)) return { ok: false, reason: `${JSON.stringify(tenant)} is no tenant name` }
  return { ok: true, tenant: tenant as TenantId, user, proven }
}

function readField(
  certificate: NonNullable<AuthRequest['certificate']>,
  field: Exclude<CertificateField, 'none'>,
): string | null {
  const value = field === 'cn' ? certificate.commonName : certificate.subject[field === 'o' ? 'O' : 'OU']
  // A subject may hold a field several times; then node gives a list, and none of them can be meant.
  return typeof value === 'string' && value !== '' ? value : null
}
