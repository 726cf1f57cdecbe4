console.log("ENV", require("left"));
