/** Of every test that draws; `KVANT_SEED` tries another. */
export const testSeed = Number(process.env.KVANT_SEED ?? 20_240_611);
