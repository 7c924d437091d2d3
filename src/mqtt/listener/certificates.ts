import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type PeerCertificate } from 'node:tls'
import { BrokerError } from '../../base/errors.ts'
import type { CertificateInfo, TlsOptions } from './contract.ts'

/** What the files say, checked: the key belongs to the certificate. */
export interface Credentials {
  cert: Buffer
  key: Buffer
  ca: Buffer | null
  /** Changes when one of the files does. */
  stamp: string
}

/** Reads and checks the PEM files. Rejects with CONFIG_INVALID, one sentence that names the file. */
export async function loadCredentials(listener: string, tls: TlsOptions): Promise<Credentials> {
  const stamp = await stampOf(tls)
  const cert = await readPem(listener, 'cert', tls.cert)
  const key = await readPem(listener, 'key', tls.key)
  const ca = tls.ca === null ? null : await readPem(listener, 'ca', tls.ca)
  check(listener, `tls.cert: "${tls.cert}" holds no PEM certificate`, () => new X509Certificate(cert))
  check(listener, `tls.key: "${tls.key}" holds no PEM private key without a pass phrase`, () => createPrivateKey(key))
  if (ca !== null) check(listener, `tls.ca: "${tls.ca}" holds no PEM certificate`, () => new X509Certificate(ca))
  check(listener, `tls.key: "${tls.key}" is not the key of the certificate in "${tls.cert}"`, () =>
    createSecureContext(ca === null ? { cert, key } : { cert, key, ca }),
  )
  return { cert, key, ca, stamp }
}

/** Time and size of the files, which links are followed to; a file that cannot be seen is a stamp of its own. */
export async function stampOf(tls: TlsOptions): Promise<string> {
  const paths = [tls.cert, tls.key, tls.ca].filter((path) => path !== null)
  const stamps = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        (file) => `${file.mtimeMs}:${file.size}:${file.ino}`,
        () => 'unreadable',
      ),
    ),
  )
  return stamps.join(' ')
}

async function readPem(listener: string, option: string, path: string | null): Promise<Buffer> {
  if (path === null) throw invalid(listener, `tls.${option}: is needed: the path of a PEM file`)
  try {
    return await readFile(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw invalid(listener, `tls.${option}: cannot read "${path}": ${code ?? message}`, error)
  }
}

function check(listener: string, problem: string, attempt: () => unknown): void {
  try {
    attempt()
  } catch (error) {
    throw invalid(listener, problem, error)
  }
}

function invalid(listener: string, problem: string, cause?: unknown): BrokerError {
  return new BrokerError('CONFIG_INVALID', `mqtt.listeners.${listener}.${problem}`, { cause })
}

/** What is told of a verified client certificate. */
export function describeCertificate(peer: PeerCertificate): CertificateInfo {
  const subject: Record<string, string> = {}
  for (const [field, value] of Object.entries(peer.subject ?? {})) {
    const first = Array.isArray(value) ? value[0] : value
    if (typeof first === 'string') subject[field] = first
  }
  return { commonName: subject.CN ?? '', subject, fingerprint: peer.fingerprint256 }
}

const SUBJECT_FIELDS = { none: null, cn: 'CN', o: 'O', ou: 'OU' } as const

/** The tenant that a certificate names; null where it names none. */
export function tenantOf(certificate: CertificateInfo | null, from: TlsOptions['tenantFromCert']): string | null {
  const field = SUBJECT_FIELDS[from]
  if (field === null || certificate === null) return null
  return certificate.subject[field] || null
}
