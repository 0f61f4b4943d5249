/** Ends of tasks that are stored with the acks of their messages, for the tests of drivers that can. */
import { JsonText } from '../../dist/protocol/json-text.js'
import type { PlacedEnd, ResultMeta } from '../../dist/protocol/result.js'
import type { Delivery } from '../../dist/transport.js'

export const success = (taskId = 'a', result = '5'): ResultMeta => ({
  taskId,
  status: 'SUCCESS',
  result: new JsonText(result),
  traceback: null,
  children: [],
  dateDone: '2026-01-01T00:00:00+00:00',
})

/** As `Delivery.ackWith`, as a promise. */
export const ackWith = (delivery: Delivery, end: PlacedEnd): Promise<boolean | undefined> =>
  new Promise((resolve) => delivery.ackWith?.(end, resolve))
