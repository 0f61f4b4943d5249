import { isSameAddress } from '../internal/address.js'
import { systemClock } from '../internal/clock.js'
import type { LimitStore } from '../limit-store.js'
import { keepsLimits, openLimitStore } from '../limits/index.js'
import type { Config } from './config.js'

/** `limitStore`, or else the broker, or the result backend, where one of them can keep limits. Throws NotSupportedError where none can. */
export function openLimits({ limitStore, brokerUrl, resultBackend, brokerTransportOptions }: Config): Promise<LimitStore> {
  const address = limitStore ?? [...brokerUrl, resultBackend].find(keepsLimits)
  const isBroker = address !== undefined && brokerUrl.some((broker) => isSameAddress(broker, address))
  return openLimitStore(address, { clock: systemClock, transportOptions: isBroker ? brokerTransportOptions : {} })
}
