import { existsSync, readFileSync } from 'node:fs'

/** The version in our package.json: the nearest one above this file, wherever it was built to. */
export function version(): string {
  let folder = new URL('./', import.meta.url)
  while (!existsSync(new URL('package.json', folder))) folder = new URL('../', folder)
  return (JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as { version: string }).version
}
