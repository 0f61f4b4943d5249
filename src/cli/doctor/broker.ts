import type { Connection } from '../../transport.js'
import type { CommandContext } from '../with-app.js'
import { area, type Finding } from './finding.js'

const finding = area('broker')
/** Clocks that are so far apart are wrong for etas and expiry. */
export const mostSkewMs = 2_000

/** What the server says of itself, and whether its clock and ours agree. */
export async function examineBroker({ core }: CommandContext, connection: Connection, tookMs: number): Promise<readonly Finding[]> {
  const { server, findings, clockAheadMs } = await connection.examine()
  const { name } = core.connections.transportOf(connection) ?? { name: 'broker' }
  return [
    finding('reachable', 'fine', `${server} (${name}) answered within ${Math.ceil(tookMs)} ms`),
    ...findings.map((one) => ({ area: 'broker', ...one })),
    ...(clockAheadMs === undefined ? [] : [clock(clockAheadMs)]),
  ]
}

function clock(aheadMs: number): Finding {
  const shown = `its clock is ${Math.abs(aheadMs / 1000).toFixed(2)} s ${aheadMs >= 0 ? 'ahead of' : 'behind'} this machine's`
  if (Math.abs(aheadMs) <= mostSkewMs) return finding('clock', 'fine', shown)
  return finding('clock', 'warning', shown, 'Let both follow a time server (NTP): etas and expiry times are read on the clocks of workers')
}
