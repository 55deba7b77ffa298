# Fit with glmnet: Rscript fit_glmnet.R FOLDER sparse= n= d= K= [nnz=] grouped= lambda= alpha= thresh=
suppressMessages(library(glmnet))
given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]
pairs <- strsplit(given[-1], "=")
o <- setNames(as.list(as.numeric(sapply(pairs, `[`, 2))), sapply(pairs, `[`, 1))
at <- function(name) file.path(folder, name)
if (o$sparse) {
  X <- new("dgCMatrix", i = readBin(at("i.bin"), "integer", o$nnz), p = readBin(at("p.bin"), "integer", o$d + 1),
           x = readBin(at("x.bin"), "double", o$nnz), Dim = as.integer(c(o$n, o$d)))
} else X <- matrix(readBin(at("x.bin"), "double", o$n * o$d), o$n, o$d)
y <- factor(readBin(at("y.bin"), "integer", o$n), levels = 0:(o$K - 1))
rest <- sapply(levels(y), function(k) (y == k) - mean(y == k))
at_zero <- as.matrix(crossprod(X, rest))
largest <- max(if (o$grouped) sqrt(rowSums(at_zero^2)) else abs(at_zero)) / (o$n * o$alpha)
path <- exp(seq(log(max(largest, o$lambda * 1.0001)), log(o$lambda), length.out = 30)) # a shorter one may diverge
start <- proc.time()
fit <- glmnet(X, y, family = "multinomial", alpha = o$alpha, lambda = path, standardize = FALSE,
              type.multinomial = if (o$grouped) "grouped" else "ungrouped",
              thresh = o$thresh, maxit = 1e8)
spent <- proc.time() - start
last <- length(fit$lambda)
arrived <- last == 30 && fit$dev.ratio[last] > 0
if (arrived) {
  coef <- sapply(coef(fit, s = fit$lambda[last]), function(b) as.numeric(b))
  writeBin(as.numeric(coef), at("coef.bin"))
}
cat(sprintf('{"seconds": %.6f, "arrived": %s}\n', spent[["user.self"]] + spent[["sys.self"]],
            if (arrived) "true" else "false"))
