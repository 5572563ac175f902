// Verifies with the official JavaScript library what the Python tests have collected.
//
// Standard input has one JSON object a line: `{secret, body, headers}` is a delivery to verify, the body in base64;
// `{secret, id, timestamp, body, signature}` is a published vector, to be signed and compared (vectors are too old to
// verify). Prints how many lines held and which did not; ends with 1 if one did not.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

function fault(line) {
  const webhook = new Webhook(line.secret);
  const body = Buffer.from(line.body, "base64").toString("utf8");
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
