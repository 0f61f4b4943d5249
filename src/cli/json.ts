/** No text of a person's has it. */
const mark = '\u0000integer '

/** JSON for programs and people to read: as JSON.stringify, and with integers of any size in full, as workers of both languages have them. */
export function toJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${mark}${part}` : part), indent) ?? 'null'
  return text.replaceAll(/"\\u0000integer (-?\d+)"/g, '$1')
}
