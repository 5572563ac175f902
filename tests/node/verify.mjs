// Verifies in JavaScript what the Python tests have collected: with the official library, with Svix's, and ed25519 signatures,
// which neither knows, with Node's own cryptography.
//
// Standard input has one JSON object a line. `{secret, body, headers}` is a delivery to verify, the body in base64; with
// `library: "svix"` by Svix's. `{public_key, body, headers}` is one signed with ed25519. `{secret, id, timestamp, body,
// signature}` is a published vector, to be signed and compared (vectors are too old to verify). Prints how many lines held and
// which did not; ends with 1 if one did not.
import { createPublicKey, verify } from "node:crypto";
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const LIBRARIES = { standardwebhooks: Webhook, svix: SvixWebhook };

// The rules of Standard Webhooks for `v1a`: ed25519 over `id.timestamp.body`, by the key after `whpk_`.
function verifyEd25519({ public_key, headers }, body) {
  const raw = Buffer.from(public_key.replace(/^whpk_/, ""), "base64");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
  const head = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  const signed = Buffer.concat([Buffer.from(head), body]);
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  const holds = (one) => verify(null, signed, key, Buffer.from(one.slice("v1a,".length), "base64"));
  if (!signatures.some(holds)) throw new Error(`none of ${signatures.length} v1a signatures is by ${public_key}`);
}

function fault(line) {
  const bytes = Buffer.from(line.body, "base64");
  if (line.public_key !== undefined) {
    verifyEd25519(line, bytes);
    return null;
  }
  const webhook = new LIBRARIES[line.library ?? "standardwebhooks"](line.secret);
  const body = bytes.toString("utf8");
  if (line.signature === undefined) {
    webhook.verify(body, line.headers);
    return null;
  }
  const signed = webhook.sign(line.id, new Date(line.timestamp * 1000), body);
  return signed === line.signature ? null : `signed ${signed}, expected ${line.signature}`;
}

let verified = 0;
const faults = [];
for await (const text of createInterface({ input: process.stdin })) {
  try {
    const found = fault(JSON.parse(text));
    if (found === null) verified += 1;
    else faults.push(found);
  } catch (error) {
    faults.push(`${error.message}: ${text.slice(0, 300)}`);
  }
}
console.log(JSON.stringify({ verified, faults: faults.slice(0, 20) }));
process.exitCode = faults.length === 0 ? 0 : 1;
