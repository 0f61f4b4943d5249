/** Marks apps, so that one that another copy of this module made is known too (`Celeriac.isApp`). */
export const appBrand: unique symbol = Symbol.for('celeriac.app') as never
