/** What is given over a signature's options when it is sent (celery/canvas.py Signature._merge). */
import { listAt, type Options } from './members.js'

/** As Celery: what is given wins, but a group id and stamps stay as they are. Stamps of other names are added. */
export function mergedOptions(own: Options, given: Options): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...own }
  for (const name of Object.keys(given)) if (name !== 'group_id' || own.group_id === undefined) merged[name] = given[name]
  return Object.assign(merged, stampsOver(own, given))
}

/** The stamps of a signature over which others are given. */
export function stampsOver(own: Options, given: Options): Options {
  if (own.stamped_headers === undefined) return {}
  const names = listAt(own, 'stamped_headers').map(String)
  return {
    ...Object.fromEntries(names.map((name) => [name, own[name]])),
    stamped_headers: [...new Set([...names, ...listAt(given, 'stamped_headers')])],
  }
}
