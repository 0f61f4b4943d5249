/** No text of a person's has it. */
const mark = '\u0000integer '

/** JSON for programs and people to read: as JSON.stringify, with integers of any size in full, as workers of both languages have them, and bytes as base64. */
export function toJson(value: unknown, indent?: number): string {
  const readable = (_: string, part: unknown): unknown =>
    typeof part === 'bigint' ? `${mark}${part}` : part instanceof Uint8Array ? Buffer.from(part).toString('base64') : part
  const text = JSON.stringify(value, readable, indent) ?? 'null'
  return text.replaceAll(/"\\u0000integer (-?\d+)"/g, '$1')
}
