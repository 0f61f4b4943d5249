import { app } from './tasks.ts'

// region class
class CardDeclined extends Error {
  static python = { module: 'shop_errors', type: 'CardDeclined' }
}

export const charge = app.task('node.charge', { params: ['cents'] }, (cents: number) => {
  if (cents > 100_00) throw new CardDeclined('over the limit')
  return cents
})
// endregion

export { app }
