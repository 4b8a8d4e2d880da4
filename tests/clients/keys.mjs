// Prints two pairs of keys, as a developer of an app makes them.
import { exportJWK, generateKeyPair } from "jose";

const keys = {};
for (const alg of ["ES384", "RS384"]) {
  const pair = await generateKeyPair(alg, { extractable: true });
  const kid = `key-${alg.toLowerCase()}`;
  const named = async (key) => ({ ...(await exportJWK(key)), kid, alg, use: "sig" });
  keys[alg] = { secret: await named(pair.privateKey), public: await named(pair.publicKey) };
}
console.log(JSON.stringify(keys));
