/** Who watches keys that begin with some text. */
export class PrefixWatchers<Event extends { key: string }> {
  readonly #watchers = new Set<{ prefix: string; watcher: (event: Event) => void }>()

  add(prefix: string, watcher: (event: Event) => void): () => void {
    const entry = { prefix, watcher }
    this.#watchers.add(entry)
    return () => this.#watchers.delete(entry)
  }

  tell(event: Event): void {
    for (const { prefix, watcher } of this.#watchers) if (event.key.startsWith(prefix)) watcher(event)
  }
}
