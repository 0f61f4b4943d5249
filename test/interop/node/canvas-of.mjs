// Canvases from data, by what a user calls: the same data as python/canvas_of.py reads.
import { chain, chord, group } from '../../../dist/index.js'

/**
 * @typedef {{
 *   readonly task?: string, readonly args?: readonly unknown[], readonly immutable?: boolean,
 *   readonly chain?: readonly CanvasData[], readonly group?: readonly CanvasData[], readonly chord?: readonly CanvasData[], readonly body?: CanvasData,
 *   readonly options?: { readonly queue?: string, readonly task_id?: string, readonly countdown?: number },
 *   readonly link?: readonly CanvasData[], readonly link_error?: readonly CanvasData[], readonly stamp?: Readonly<Record<string, unknown>>,
 * }} CanvasData
 */

/**
 * @param {import('../../../dist/index.js').Celeriac} app
 * @param {CanvasData} given
 * @returns {import('../../../dist/index.js').Sig<never, unknown, true>}
 */
export function canvasOf(app, given) {
  let sig = bare(app, given)
  const { task_id: taskId, ...options } = given.options ?? {}
  if (given.options !== undefined) sig = sig.set({ ...options, ...(taskId === undefined ? {} : { taskId }) })
  for (const callback of given.link ?? []) sig = sig.link(canvasOf(app, callback))
  for (const errback of given.link_error ?? []) sig = sig.linkError(canvasOf(app, errback))
  if (given.stamp !== undefined) sig = sig.stamp(given.stamp)
  return sig
}

/**
 * @param {import('../../../dist/index.js').Celeriac} app
 * @param {CanvasData} given
 * @returns {import('../../../dist/index.js').Sig<never, unknown, true>}
 */
function bare(app, given) {
  const each = (/** @type {readonly CanvasData[]} */ members) => members.map((member) => canvasOf(app, member))
  if (given.chain !== undefined) return chain.from(each(given.chain))
  if (given.group !== undefined) return group(each(given.group))
  if (given.chord !== undefined && given.body !== undefined) return chord(group(each(given.chord)), canvasOf(app, given.body))
  /** @type {{ s(...args: unknown[]): any, si(...args: unknown[]): any }} Any arguments: which of them a chain fills, the data knows. */
  const task = app.remote(given.task ?? '')
  return given.immutable === true ? task.si(...(given.args ?? [])) : task.s(...(given.args ?? []))
}
