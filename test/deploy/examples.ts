/** The example configurations of deploy/, as their programs would see them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'
import { type Config, loadConfig } from '../../src/node/config/index.ts'

/** What every one of them wants from the environment. */
export const SECRETS = { FLOCKMQ_CLUSTER_SECRET: 'gossip', FLOCKMQ_API_TOKEN: 'token' }

export type Environment = Record<string, string>

// Documents of other programs have the shape that those document.
// biome-ignore lint/suspicious/noExplicitAny: their schemas are not ours
export type Document = any

export const textOf = (path: string): string => readFileSync(join('deploy', path), 'utf8')

export const yamlOf = (path: string): Document => parse(textOf(path), { merge: true })

/** The manifests, by kind and name. */
export function manifests(): Map<string, Document> {
  const documents = parseAllDocuments(textOf('kubernetes/flockmq.yml')).map((document): Document => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS()
  })
  return new Map(documents.map((document) => [`${document.kind}/${document.metadata.name}`, document]))
}

let folder = ''

/** A file of that name and content, until {@link removeWritten}. */
export function writtenAs(name: string, content: string): string {
  if (folder === '') folder = mkdtempSync(join(tmpdir(), 'flockmq-deploy-'))
  const file = join(folder, name)
  writeFileSync(file, content)
  return file
}

export function removeWritten(): void {
  if (folder !== '') rmSync(folder, { recursive: true, force: true })
  folder = ''
}

/** The file that the pods get, on disk. */
export function kubernetesFile(): string {
  return writtenAs('kubernetes.yml', manifests().get('ConfigMap/flockmq').data['flockmq.yml'])
}

/** Variables of the StatefulSet's container; a value that the cluster fills in is `FILLED`'s. */
export function podEnvironment(filled: Environment): Environment {
  const container = manifests().get('StatefulSet/flockmq').spec.template.spec.containers[0]
  const entries = (container.env as Document[]).map(({ name, value, valueFrom }): [string, string] => {
    const source = valueFrom?.fieldRef?.fieldPath ?? valueFrom?.secretKeyRef?.key
    return [name, value ?? filled[source]]
  })
  return Object.fromEntries(entries)
}

/** Throws what is wrong with it. */
export function configOf(file: string, environment: Environment): Config {
  const machine = { hostName: 'host', memoryBytes: 8 * 2 ** 30 }
  return loadConfig({ file, settings: [], environment, machine }).config
}

/** The number in a duration such as `20s`. */
export const seconds = (text: string): number => Number(/^(\d+)s$/.exec(text)?.[1])
