/** Columns as wide as their longest cell; `right`: columns of figures. */
export function formatTable(rows: readonly string[][], right: ReadonlySet<string> = new Set()): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  const figures = rows[0]!.map((title) => right.has(title))
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => (figures[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  '),
  )
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

/** Such as `512 B`, `3.4 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
