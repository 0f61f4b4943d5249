import { createHash } from 'node:crypto'

/**
 * The id of a task that another one brings about, made from that one's id and the place in its message: the same each time that the other is delivered,
 * so that what it sends twice is one task.
 */
export function derivedId(parentId: string, place: string): string {
  const hex = createHash('sha256').update(`${parentId}/${place}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
