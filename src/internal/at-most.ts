import type { Clock, Timer } from './clock.js'

/** Waits for the work, but no longer than `ms`. Its failure is not told: whoever began it hears of it. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let timer: Timer | undefined
  const late = new Promise<void>((resolve) => {
    timer = clock.setTimer(ms, resolve, { keepAlive: true })
  })
  await Promise.race([work.catch(() => {}), late])
  timer?.cancel()
}
