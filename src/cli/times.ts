import { toIso } from '../protocol/time.js'

/** `2026-11-23 03:00:00 +01:00`: a time as the clocks of a zone show it. */
export function showTime(date: Date, timezone: string): string {
  const iso = toIso(date.getTime(), timezone)
  const fraction = date.getTime() % 1000 === 0 ? '' : iso.slice(19, 23)
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction} ${iso.slice(26)}`
}

/** Columns as wide as their widest text; the last one ends where it ends. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) =>
    row
      .map((text, column) => (column === row.length - 1 ? text : text.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}
