import { spawnSync } from "node:child_process";

/** Minimum Node version, as package.json `engines`. */
const minimumNode = [20, 19, 0];

function answers(command) {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
}

/** One sentence per missing prerequisite, each with how to install it. */
export function missingPrerequisites() {
  const missing = [];
  const version = process.versions.node.split(".").map(Number);
  const order = minimumNode.map((wanted, i) => (version[i] ?? 0) - wanted).find((difference) => difference !== 0) ?? 0;
  if (order < 0) {
    missing.push(
      `Node ${process.versions.node} is too old; ${minimumNode.join(".")} or newer is needed: https://nodejs.org/en/download or nvm install 20`,
    );
  }
  if (!answers("npm")) missing.push("npm was not found; it comes with Node: https://nodejs.org/en/download");
  if (!answers("cmake")) {
    missing.push("CMake was not found: apt-get install cmake | dnf install cmake | brew install cmake");
  }
  const compilers = [process.env.CXX, "c++", "g++", "clang++"].filter(Boolean);
  if (!compilers.some(answers)) {
    missing.push(
      `no C++20 compiler was found (tried ${compilers.join(", ")}): apt-get install g++ | dnf install gcc-c++ | xcode-select --install`,
    );
  }
  return missing;
}
