/** A number from 0 to 2^32 - 1 for a text (FNV-1a). For indexes: random texts of 36 letters make one that costs more than the rows it finds. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
